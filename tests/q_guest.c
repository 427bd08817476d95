/* tests/q_guest.c - the cases of the integer kernels as a program of its own, without a test
 * library: for other machines, emulated. Prints the checksum; kernels.c is linked at level "base".
 */
#include <inttypes.h>
#include "tests/q_cases.h"

extern const Kernel kernels_base[];

int main(int argc, char **argv)
{
    Cases t = {.table = kernels_base, .seed = 1, .sum = Q_SUM};
    if (!q_cases(&t, argc > 1 ? atoi(argv[1]) : 100)) return 1;
    printf("%016" PRIx64 " of %" PRIu64 " bytes\n", t.sum, t.values);
    return 0;
}
