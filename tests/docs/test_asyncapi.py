"""docs/asyncapi.yaml is made from the code, and AsyncAPI's own parser takes it."""

import json

import pytest

from tests.npm_package import npm_package, run_node
from tests.tools import asyncapi_page

PARSER = "@asyncapi/parser", "3.6.3"
# The parser for the document; its JSON Schema validator for the examples; its YAML for the text.
SCRIPT = """
const { Parser } = require("@asyncapi/parser");
const Ajv = require("ajv");
const yaml = require("js-yaml");
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
async function main() {
  for (const text of input.texts) {
    const { document, diagnostics } = await new Parser().parse(text);
    const found = diagnostics.filter((one) => one.severity < 2).map((one) => one.message);
    console.log(JSON.stringify({ taken: document !== undefined, found }));
  }
  const plain = yaml.load(input.texts[0]);
  console.log(JSON.stringify(plain));
  const ajv = new (Ajv.default || Ajv)({ strict: false, validateFormats: false });
  const wrong = [];
  for (const [name, channel] of Object.entries(plain.channels)) {
    for (const message of Object.values(channel.messages)) {
      const check = ajv.compile(message.payload);
      for (const { payload } of message.examples || []) {
        if (!check(payload)) wrong.push([name, ajv.errorsText(check.errors)]);
      }
    }
  }
  console.log(JSON.stringify(wrong));
}
main();
"""


def test_the_file_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncapi_page.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.timeout(120)  # npm, once
def test_its_own_parser_takes_the_file_and_every_example_fits_its_schema() -> None:
    text = asyncapi_page.PATH.read_text(encoding="utf-8")
    broken = text.replace('channel: {"$ref": "#/channels/batch"}', 'channel: "batch"', 1)
    assert broken != text
    found = run_node(npm_package(*PARSER), SCRIPT, json.dumps({"texts": [text, broken]}))
    good, refused, plain, wrong = found
    assert good == {"taken": True, "found": []}
    assert not refused["taken"]
    assert plain == json.loads(json.dumps(asyncapi_page.document()))
    assert wrong == []


def test_every_direction_and_every_platform_is_there() -> None:
    document = asyncapi_page.document()
    operations = document["operations"]
    assert isinstance(operations, dict)
    assert {"gatewaySendsBatch", "collectorReceivesBatch"} <= operations.keys()
    assert {"collectorSendsReceipt", "gatewayReceivesReceipt"} <= operations.keys()
    assert {"gatewayReceivesSparkplugNodeCommand", "gatewaySendsHuaweiReport"} <= operations.keys()
