"""Defects of the slots and their record store, made on purpose: each lacks one rule.

A test shows that a node's life with cuts, or damage, does not go well without the rule.
"""

from collections.abc import Mapping
from typing import Final

_COMPACT_HEAD: Final = """    const uint32_t header[4] = {\
RS_SECTOR_MAGIC, sequence, header_crc(sequence), RS_COMMIT};
    for (unsigned index = 0; index < 4; index++) {
        if (put(store, target, index * WORD, header[index]) != TAKEN) {
            return false;
        }
    }
"""
_COMPACT_BEGIN: Final = "    uint32_t newest[RS_NAMES_MAX];\n    uint32_t changed"
_COPY: Final = (
    "            text = record_at(store, store->newest[index], &len, &content, &bytes);\n"
)

#: Each removes one rule of the update; the name says which. Text by file, see ``compile_slots``.
MUTANTS: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    "no full hash at boot": {
        "slots.c": {"SLOTS_GOOD && has_digest(slots, slot, manifest)) {": "SLOTS_GOOD) {"}
    },
    "no TRIED record": {"boot_decision.c": {"            state->started = 1;\n": ""}},
    "no second log sector": {
        "record_store.c": {
            "    int target = store->current == 0 ? 1 : 0;\n": (
                "    int target = store->current == 1 ? 1 : 0;\n"
                "    static uint8_t saved[4096];\n"
                "    memcpy(saved, store->flash.sector[target], store->flash.sector_bytes);\n"
                "    uint32_t places[RS_NAMES_MAX][4];\n"
                "    for (uint32_t index = 0; index < store->count; index++) {\n"
                "        size_t len, bytes; const uint8_t *content;\n"
                "        const uint8_t *text = record_at(store, store->newest[index], &len,"
                " &content, &bytes);\n"
                "        const uint8_t *base = store->flash.sector[target];\n"
                "        places[index][0] = (uint32_t)(text - base);\n"
                "        places[index][1] = (uint32_t)(content - base);\n"
                "        places[index][2] = (uint32_t)len;\n"
                "        places[index][3] = (uint32_t)bytes;\n"
                "    }\n"
                "    uint32_t known = find(store, name, name_len);\n"
            ),
            "    uint32_t changed = find(store, name, name_len);\n": (
                "    uint32_t changed = known;\n"
            ),
            _COPY: (
                "            text = saved + places[index][0];\n"
                "            content = saved + places[index][1];\n"
                "            len = places[index][2];\n"
                "            bytes = places[index][3];\n"
            ),
        }
    },
    "no marker of a complete snapshot": {
        "record_store.c": {_COMPACT_HEAD: "", _COMPACT_BEGIN: _COMPACT_HEAD + _COMPACT_BEGIN}
    },
    "no scan past a torn record": {
        "record_store.c": {
            "        offset += WORD; // a torn header has no reliable length\n": "        break;\n"
        }
    },
}
