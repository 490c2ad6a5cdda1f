"""The program by itself: `python -m settlement.simulators.gateway --port 8411 --database-url postgresql://…`."""

import argparse
import os

from settlement.simulators.gateway.app import serve

SECRET = "GATEWAY_SIM_SECRET"  # noqa: S105 - the name of the variable


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="gateway-sim",
        description="A simulated recharge gateway with one partner.",
        epilog=f"The secret that signs both ways stands in {SECRET}.",
    )
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--partner-no", default="P1001")
    arguments = parser.parse_args()
    serve(arguments.database_url, arguments.port, arguments.partner_no, os.environ[SECRET])


if __name__ == "__main__":
    main()
