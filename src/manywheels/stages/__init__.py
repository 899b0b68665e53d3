"""The stages of a target: build, repair, and (in `manywheels.verify`) the proof of its tags."""
