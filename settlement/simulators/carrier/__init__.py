"""A simulated carrier: TMF654 and CAMARA over HTTP, on a database of its own."""
