"""Heads as poses and expressions in ROS 2: `python examples/ros2_bridge.py [ENDPOINT] [STREAM]`.

Run it where ROS 2 is set up (`source /opt/ros/jazzy/setup.bash`). Of the largest face it publishes
`/face/pose` (geometry_msgs/PoseStamped: x right, y down, z away from the camera, as REP 103 has it
for optical frames; the position is in pixels) and `/face/expressions` (sensor_msgs/JointState).
"""

import sys

try:
    import rclpy
    from geometry_msgs.msg import PoseStamped
    from sensor_msgs.msg import JointState

    from streamprn import BLENDSHAPES, Subscriber
except ImportError as error:
    sys.exit(f"{error}: set up ROS 2, and run `pip install .` in the checkout of StreamPRN")

endpoint, stream = (*sys.argv[1:], *("tcp://127.0.0.1:5870", "cam1")[len(sys.argv) - 1 :])
rclpy.init()
node = rclpy.create_node("streamprn")
poses = node.create_publisher(PoseStamped, "/face/pose", 10)
expressions = node.create_publisher(JointState, "/face/expressions", 10)
with Subscriber(endpoint, [f"{stream}/face", f"{stream}/blendshapes"]) as messages:
    while rclpy.ok():
        message = messages.receive(0.1)
        if message is None or not getattr(message, "faces", ()):
            continue
        face = max(message.faces, key=lambda one: one.box_xyxy[2] - one.box_xyxy[0])
        pose, states = PoseStamped(), JointState()
        pose.header.frame_id = states.header.frame_id = f"{stream}_optical_frame"
        seconds, nanoseconds = divmod(message.stamps.wall, 1_000_000_000)
        pose.header.stamp.sec, pose.header.stamp.nanosec = seconds, nanoseconds
        states.header.stamp = pose.header.stamp
        x, y, z = face.pose.translation.tolist()
        at, turn = pose.pose.position, pose.pose.orientation
        at.x, at.y, at.z = x, y, -z
        # Half a turn about x, from y up and z towards the camera.
        turn.w, turn.x, y, z = face.pose.quaternion.tolist()
        turn.y, turn.z = -y, -z
        poses.publish(pose)
        if face.blendshapes is not None:
            states.name = list(BLENDSHAPES)
            states.position = face.blendshapes.astype(float).tolist()
            expressions.publish(states)
