/* The exchange of hil_cycle.py by libmodbus in C: writes 10 registers and reads 6; prints seconds an exchange.
 *   libmodbus_client PORT COUNT */
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char **argv) {
    uint16_t registers[10] = {0};
    if (argc < 3) return 2;
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    modbus_set_slave(ctx, 1);
    if (modbus_connect(ctx) < 0) return perror("connect"), 1;
    int count = atoi(argv[2]);
    double began_s = now_s();
    for (int i = 0; i < count; i++) {
        registers[9] = i;
        if (modbus_write_registers(ctx, 0, 10, registers) < 0) return perror("write"), 1;
        if (modbus_read_input_registers(ctx, 4, 6, registers) < 0) return perror("read"), 1;
    }
    printf("%.9f\n", (now_s() - began_s) / count);
    return 0;
}
