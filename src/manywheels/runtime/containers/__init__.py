"""The container engine, images, and the program itself in a container."""
