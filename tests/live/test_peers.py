"""The peers that `bench --against` knows."""

from streamprn.bench.peers import PEERS
from streamprn.cli import whole_parser
from streamprn.cli.parser import subcommands


def test_the_program_offers_every_peer():
    bench = subcommands(whole_parser())["bench"]
    (against,) = (one for one in bench._actions if one.dest == "against")
    assert tuple(against.choices) == tuple(PEERS)
