/* pixels.h - pixels of the network's size become its input: a table of 256 elements a channel. */
#ifndef QONNX_PIXELS_H
#define QONNX_PIXELS_H

/* `table` is [channels][256]; `out` is written in the input's layout. Channel c is that of the
 * pixel which order[c] says. */
static void pixels_put(const uint8_t *pixels, const PIXELS_TYPE *table, const uint8_t *order,
                       size_t count, size_t channels, size_t step, size_t plane, PIXELS_TYPE *out)
{
    size_t i, c;
    for (i = 0; i < count; i++)
        for (c = 0; c < channels; c++)
            out[i * step + c * plane] = table[256 * c + pixels[i * channels + order[c]]];
}

#endif
