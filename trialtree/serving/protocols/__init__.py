"""The protocols that an endpoint speaks: what a body says, and how it is answered."""
