# One image for every program; compose.yaml says which command runs where.

FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml requirements.lock ./
# uv, verified by its hash in the lock.
RUN awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock > uv.lock \
    && pip install --no-cache-dir --disable-pip-version-check --require-hashes -r uv.lock
# The lock holds the development tools as well. Of it, take what running needs, hashes included, and setuptools to
# install ourselves with.
RUN python -m venv --without-pip /opt/surplusflow \
    && uv pip compile --quiet --no-header --no-annotate --constraint requirements.lock pyproject.toml > wanted.txt \
    && awk -F'==' 'NR == FNR { wanted[$1]; next } /^[^ ]/ { split($1, name, " "); keep = name[1] in wanted || name[1] == "setuptools" } keep' \
        wanted.txt requirements.lock > runtime.lock \
    && uv pip sync --no-cache --compile-bytecode --require-hashes --python /opt/surplusflow/bin/python runtime.lock
WORKDIR /app
COPY . .
RUN find web -name '*.po' -exec sh -c '/opt/surplusflow/bin/pybabel --quiet compile -i "$1" -o "${1%.po}.mo"' _ {} \; \
    && uv pip install --no-cache --offline --no-deps --no-build-isolation --python /opt/surplusflow/bin/python -e . \
    && /opt/surplusflow/bin/python -m compileall -q market matching settlement web

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/surplusflow --create-home surplusflow
COPY --from=build /opt/surplusflow /opt/surplusflow
COPY --from=build /app /app
ENV PATH=/opt/surplusflow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SURPLUSFLOW_BIND_HOST=0.0.0.0 \
    SURPLUSFLOW_DATA_DIR=/var/lib/surplusflow
USER surplusflow
WORKDIR /var/lib/surplusflow
VOLUME /var/lib/surplusflow
EXPOSE 8000
ENTRYPOINT ["surplusflow"]
CMD ["--help"]
