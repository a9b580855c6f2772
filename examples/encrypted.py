"""Read what is encrypted: `python examples/encrypted.py ENDPOINT STREAM door.key alice.key_secret`.

`streamprn keys new NAME` makes the pairs. The publisher keeps door.key_secret and a folder with the
public keys of its clients: `streamprn run ... --set publish.curve_secret_file=door.key_secret
--set publish.curve_allow_dir=clients`.
"""

import sys
from pathlib import Path

from streamprn import Subscriber
from streamprn.wire.bind import CurveKeys

if len(sys.argv) != 5:
    sys.exit("usage: python examples/encrypted.py ENDPOINT STREAM door.key alice.key_secret")
endpoint, stream, server_key, own_keys = sys.argv[1:]
keys = CurveKeys.load(Path(own_keys))
with Subscriber(
    endpoint, f"{stream}/face", timeout_s=10, server_key=Path(server_key), client_keys=keys
) as messages:
    for message in messages:
        print(f"frame {message.seq}: {len(message.faces)} faces")
        break
    else:
        sys.exit("nothing came: is the key the publisher's, and ours in its folder of clients?")
