"""Compile each translation unit once, whichever targets need it (docs/architecture.md, "How compilations are shared").

A compiler's wrapper starts `client`, as the target's user. It asks the program (`server`) by a socket of its target,
and sends the preprocessed text. The program looks in its `store` or has a `worker` compile the text, as a user that has
nothing else. So a build can ask for an object, and never store one.
"""
