"""The container's entry point: the command line if there are arguments, else the GitHub action (inputs: `INPUT_*`)."""

import sys

if __name__ == "__main__":
    if len(sys.argv) > 1:
        from manywheels.cli.main import main

        sys.exit(main(sys.argv[1:]))

    from manywheels.cli import github

    sys.exit(github.main())
