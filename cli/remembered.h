/* cli/remembered.h - sensitivities in a file beside the statistics, for the next budget. */
#ifndef CLI_REMEMBERED_H
#define CLI_REMEMBERED_H

#include "sensitivity.h"

/* Where --calibration names statistics, M.qcal, their file is M.qcal.sens. What it holds is taken
 * only where it was measured of the same model, statistics, passes, target, engine, samples and
 * version of qonnx: a key has them all. It is nobody's but a cache, which may be deleted at any
 * time, and as hostile as any file: whatever is not as it was written here is passed over. */
typedef struct Remembered {
    char *path;   /* owned; NULL: there are no statistics to put it beside */
    uint64_t key; /* of all that the measurements depend on */
} Remembered;

/* Finds file and key; `p` are the passes without any layer kept in float. Freed by free(path). */
Remembered remembered_of(const Maker *m, const Passes *p);
/* Gives the layers, which were found, what was measured of them. False: the file has nothing of
 * these. */
bool remembered_read(const Remembered *r, Sensitivities *s);
/* Writes them, unless there is something at the path that is no such file; what fails is passed
 * over, too: nothing is lost but time. */
void remembered_write(const Remembered *r, const Sensitivities *s);

#endif
