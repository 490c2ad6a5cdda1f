"""The program by itself: `python -m settlement.simulators.carrier --port 8401 --database-url postgresql://…`."""

import argparse
import json
import os

from settlement.simulators.carrier.program import serve

CREDENTIALS = "CARRIER_SIM_CREDENTIALS"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="carrier-sim",
        description="A simulated carrier for CMCC, CUCC and CTCC.",
        epilog=f'The bearer tokens stand in {CREDENTIALS} as JSON: {{"CMCC": "…", "CUCC": "…", "CTCC": "…"}}.',
    )
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    serve(arguments.database_url, arguments.port, json.loads(os.environ[CREDENTIALS]))


if __name__ == "__main__":
    main()
