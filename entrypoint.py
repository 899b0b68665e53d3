"""What the container starts: with arguments the command line, without them the GitHub action (inputs in `INPUT_*`)."""

import sys

if __name__ == "__main__":
    if len(sys.argv) > 1:
        from manywheels.cli.main import main

        sys.exit(main(sys.argv[1:]))

    from manywheels.cli import github

    sys.exit(github.main())
