"""The ledger on Postgres, for several gateways that act as one. Needs the extra `postgres`."""
