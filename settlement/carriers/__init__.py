"""The port to the carriers: what we ask them to do with a subscriber's data, over TMF654 and CAMARA."""
