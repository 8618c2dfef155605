// The applications in the slots: which one this boot runs, and its modules.
#pragma once

#include <stdint.h>

#include "slots.h"

// Decide; once after a reset, before Python is there.
void applications_boot(void);

// Make the modules of the running application importable; after each mp_init().
void applications_mount(void);

const uint8_t *applications_image_digest(void); // SHA-256 of the base image, 32 bytes
slots_t *applications_slots(void);
