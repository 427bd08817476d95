/* runtime/onednn_name.c - what oneDNN is called in statistics: its version, and the instruction set
 * that it takes.
 */
#include <pthread.h>
#include <stdio.h>
#include <oneapi/dnnl/dnnl.h>
#include "runtime/onednn.h"

static char the_name[64];

static void name_start(void)
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } isas[] = {{dnnl_cpu_isa_sse41, "sse41"},
                {dnnl_cpu_isa_avx, "avx"},
                {dnnl_cpu_isa_avx2, "avx2"},
                {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
                {dnnl_cpu_isa_avx512_core, "avx512_core"},
                {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
                {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
#if DNNL_VERSION_MAJOR == 3
                {dnnl_cpu_isa_avx2_vnni_2, "avx2_vnni_2"},
                {dnnl_cpu_isa_avx512_core_fp16, "avx512_core_fp16"},
                {dnnl_cpu_isa_avx512_core_amx_fp16, "avx512_core_amx_fp16"},
#endif
                {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"}};
    const dnnl_version_t *v = dnnl_version();
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const char *name = "generic";
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (isa == isas[i].isa) name = isas[i].name;
    snprintf(the_name, sizeof the_name, "onednn %d.%d.%d %s", v->major, v->minor, v->patch, name);
}

const char *onednn_name(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, name_start);
    return the_name;
}
