// The board's slots (sectors 7 and 8), and how the modules of the application in one are found.
//
// A module in the slot goes before the frozen one of the same name, and may be new. So a slot holds
// only what differs from the base: what is frozen costs no heap, what is loaded from the slot costs
// its tables (its bytecode and its data stay in flash). Of MicroPython's import only the search for
// frozen modules is taken (--wrap=mp_find_frozen_module): everything else is as for frozen modules.

#include "applications.h"

#include <string.h>

#include "board_gen.h"
#include "extmod/vfs_rom.h"
#include "flash.h"
#include "flash_store.h"
#include "lib/crypto-algorithms/sha256.h"
#include "monocypher/monocypher-ed25519.h"
#include "py/emitglue.h"
#include "py/frozenmod.h"
#include "py/mpprint.h"
#include "py/persistentcode.h"
#include "py/runtime.h"
#include "reset.h"

#define FIRST_SECTOR 7u
#define SECTOR_BYTES (SLOTS_SIZE / BD_SLOTS)
#define HARDWARE 1 // the revision of the board; there is one
#define NAME_BYTES 96u // of a module's file

extern uint8_t data_load[], data_start[], data_end[]; // of the linker script

// Versions of the bytecode, then the SHA-256 of the image: its begin is what a slot is made for.
static uint8_t identity[2 + 32] = {MPY_VERSION, MPY_SUB_VERSION};
static slots_t slots;

static void sha256(const uint8_t *data, size_t length, uint8_t digest[32]) {
    CRYAL_SHA256_CTX context;
    sha256_init(&context);
    sha256_update(&context, data, length);
    sha256_final(&context, digest);
}

static bool verify(const uint8_t key[32], const uint8_t *data, size_t length, const uint8_t signature[64]) {
    return crypto_ed25519_check(signature, key, data, length) == 0;
}

static bool program(void *context, unsigned slot, uint32_t offset, uint32_t word) {
    (void)context;
    return flash_program(SLOTS_BASE + slot * SECTOR_BYTES + offset, word);
}

static bool erase(void *context, unsigned slot) {
    (void)context;
    return flash_erase(FIRST_SECTOR + slot);
}

void applications_boot(void) {
    static const slots_port_t port = {
        .address = {(const uint8_t *)SLOTS_BASE, (const uint8_t *)(SLOTS_BASE + SECTOR_BYTES)},
        .bytes = SECTOR_BYTES,
        .board = MICROPY_PY_SYS_PLATFORM,
        .hardware = HARDWARE,
        .base = identity,
        .program = program,
        .erase = erase,
        .sha256 = sha256,
        .verify = verify,
    };
    const uint8_t *image = (const uint8_t *)IMAGE_BASE;
    sha256(image, (size_t)(data_load - image) + (size_t)(data_end - data_start), identity + 2);
    slots_boot(&slots, &port, flash_store(), reset_cause() == RESET_WATCHDOG);
    if (slots.running != BD_BASE || slots.state.outcome != BD_NONE) {
        mp_printf(&mp_plat_print, "{\"slot\": %u, \"version\": %u, \"trial\": %u, \"outcome\": %u}\n",
            (unsigned)slots.running, (unsigned)slots_version(&slots), (unsigned)slots_on_trial(&slots),
            (unsigned)slots.state.outcome);
    }
}

const uint8_t *applications_image_digest(void) {
    return identity + 2;
}

slots_t *applications_slots(void) {
    return &slots;
}

void applications_mount(void) {
    MP_STATE_VM(application_files) = MP_OBJ_NULL;
    if (slots.running == BD_BASE) {
        return;
    }
    const uint8_t *image = slots.port->address[slots.running - 1] + SLOTS_HEADER;
    mp_obj_t memory = mp_obj_new_memoryview('B', SECTOR_BYTES - SLOTS_HEADER, (void *)image);
    // What is signed may be no ROMFS all the same: then this raises, and the trial fails.
    MP_STATE_VM(application_files) = mp_call_function_1(MP_OBJ_FROM_PTR(&mp_type_vfs_rom), memory);
}

MP_REGISTER_ROOT_POINTER(mp_obj_t application_files);

// The file of a module in the running application: "a/b.py" is "a/b.mpy" there.
static mp_import_stat_t find(const char *name, size_t *length, const uint8_t **content) {
    char path[NAME_BYTES];
    size_t size = strlen(name);
    if (MP_STATE_VM(application_files) == MP_OBJ_NULL || size + 2 > sizeof(path)) {
        return MP_IMPORT_STAT_NO_EXIST;
    }
    memcpy(path, name, size + 1);
    if (size > 3 && strcmp(name + size - 3, ".py") == 0) {
        strcpy(path + size - 3, ".mpy");
    }
    return mp_vfs_rom_search_filesystem(MP_OBJ_TO_PTR(MP_STATE_VM(application_files)), path, length, content);
}

mp_import_stat_t __real_mp_find_frozen_module(const char *name, int *kind, void **data);

mp_import_stat_t __wrap_mp_find_frozen_module(const char *name, int *kind, void **data) {
    size_t length;
    const uint8_t *content;
    mp_import_stat_t found = find(name, &length, &content);
    if (found == MP_IMPORT_STAT_NO_EXIST) {
        return __real_mp_find_frozen_module(name, kind, data);
    }
    if (kind != NULL) {
        *kind = MP_FROZEN_NONE;
    }
    if (kind != NULL && found == MP_IMPORT_STAT_FILE) {
        mp_reader_t reader;
        mp_compiled_module_t loaded = {.context = m_new_obj(mp_module_context_t)};
        mp_reader_new_mem(&reader, content, length, MP_READER_IS_ROM);
        mp_raw_code_load(&reader, &loaded);
        mp_frozen_module_t module = {.constants = loaded.context->constants, .proto_fun = loaded.rc};
        *kind = MP_FROZEN_MPY;
        *data = memcpy(m_new_obj(mp_frozen_module_t), &module, sizeof(module));
    }
    return found;
}
