"""GitHub's runner in small: starts the action's image as it starts a container action, and sees what comes of it.

    with shared_image(client, place) as image:        # the project's own Dockerfile, built once for a whole run
        runner = Runner.prepare(folder, image)        # workspace, temp folder, file commands, docker.sock
        shutil.copytree(project, runner.workspace)
        step = runner.start({"build": "cp312"})       # `with:`; or runner.run(…) to its end
        step.cancel()                                 # as the runner does: SIGINT, 7.5 s, SIGTERM, 2.5 s, SIGKILL
        finished = step.wait()

Mounts, variables and signals are those of actions/runner's ContainerActionHandler and ProcessInvoker.
"""

from runner.images import copied_program, image_of, shared_image
from runner.mini import Finished, Runner, Step

__all__ = ["Finished", "Runner", "Step", "copied_program", "image_of", "shared_image"]
