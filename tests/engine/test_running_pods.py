"""What a user sees of a pod that runs."""

from tests.engine.node import Node, container, pod


async def test_a_command_runs_and_its_output_is_the_log(node: Node) -> None:
    done = await node.run(pod("p", container(script="echo hello; echo oops >&2")))
    assert done["status"]["phase"] == "Succeeded"
    assert await node.logs("p") == "hello\noops\n"
