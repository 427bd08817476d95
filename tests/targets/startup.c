/* startup.c - what a Cortex-M needs to reach main() under qemu: a vector table, memory set up, the
 * FPU on, then newlib's semihosting start. For tests only.
 */
#include <stdint.h>
#include <stdlib.h>

extern uint32_t stack_top[], data_from[], data_start[], data_end[], bss_start[], bss_end[];
int main(void);
void initialise_monitor_handles(void);
void _init(void), _fini(void); /* newlib's hooks */
void _init(void) {}
void _fini(void) {}

void start(void);
void start(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: coprocessors 10 and 11 */
    __asm__ volatile("dsb\n isb");
    for (uint32_t *to = data_start, *from = data_from; to < data_end;) *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
    initialise_monitor_handles();
    exit(main());
}

static void fault(void)
{
    exit(99);
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top,     (void *)start, (void *)fault, (void *)fault,
    (void *)fault, (void *)fault, (void *)fault,
};
