/* frontend/data/zip.h - the entries of a zip archive in memory. Nothing is unpacked here. */
#ifndef FRONTEND_DATA_ZIP_H
#define FRONTEND_DATA_ZIP_H

#include "frontend/file.h"

/* An entry: its packed bytes lie inside the archive, and overlap no other's. */
typedef struct ZipEntry {
    const char *name; /* in the archive, not ended by a NUL */
    size_t length;    /* of the name */
    size_t start;     /* of the packed bytes */
    size_t packed;    /* bytes in the archive */
    size_t bytes;     /* once unpacked, as the archive says: no more than `packed` can hold */
    uint32_t crc;     /* of these */
    uint16_t method;  /* 0: stored; 8: deflated; others are not unpacked */
    bool encrypted;   /* cannot be unpacked */
    size_t header;    /* where the entry begins */
} ZipEntry;

enum { ZIP_STORED = 0, ZIP_DEFLATED = 8 };

typedef struct Zip {
    ZipEntry *entries; /* [count] sorted by name, numbers in names by their value; owned */
    size_t count;      /* entries */
} Zip;

/* Reads the archive's directory, trusting nothing. On failure the file is damaged. */
QONNX_CHECKED bool zip_read(qonnx_ctx *cx, const char *path, const FileMap *m, Zip *out);
void zip_free(Zip *z);

#endif
