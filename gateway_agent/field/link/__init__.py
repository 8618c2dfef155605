"""The serial link at the gateway: ports on which nodes push, and what is asked over them."""
