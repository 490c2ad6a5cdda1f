"""Who owes whom, and making it so: ledger, custody, instructions, carriers, payments, reports."""
