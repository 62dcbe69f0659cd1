/* A droop inverter on libmodbus. As a controller it gets P, Q and V of its terminal and gives f and E; as a source of
 * power it gets P and Q set-points and gives Pf and Qf.
 *
 *   droop_inverter tcp PORT | rtu DEVICE  [KEY=VALUE ...]      (prints the port, or 0, when it listens)
 *
 *   f = f0 - m (Pf - p_set)   E = v0 - n (Qf - q_set)   Pf, Qf: first-order filters with the corner `filter`
 *
 * Registers: droop_inverter.yaml, power_stage.yaml. Without a write for `watchdog` s
 * it shows quality 2 and goes to its set-points; `stuck_after` s after the first write its values stand still. */
#include <errno.h>
#include <math.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { F0, M, V0, N, P_SET, Q_SET, FILTER, WATCHDOG, DELAY_MS, UNIT, BAUD, STUCK_AFTER, KEYS };
static const char *const names[KEYS] = {"f0", "m", "v0", "n", "p_set", "q_set", "filter", "watchdog", "delay_ms",
                                        "unit", "baud", "stuck_after"};
static double k[KEYS] = {50, 0.001, 1, 0.001, 0, 0, 5, 2, 0, 1, 115200, INFINITY};
static double pf, qf, last_s, first_s = INFINITY, written_s = -INFINITY;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Floats with the high word first (ABCD) or last (CDAB); libmodbus' own functions differ between its versions. */
static void put(uint16_t *at, float value, int low_first) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    at[low_first] = bits >> 16, at[!low_first] = bits;
}

static float get(const uint16_t *at, int low_first) {
    uint32_t bits = (uint32_t)at[low_first] << 16 | at[!low_first];
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Move the filters on to now, with what was told so far; show f and E. */
static void advance(modbus_mapping_t *map, double now) {
    int told = now - written_s < k[WATCHDOG];
    double share = 1 - exp(-2 * M_PI * k[FILTER] * (now - last_s));
    if (now - first_s > k[STUCK_AFTER]) return; /* its program hangs, its Modbus answers */
    pf += share * ((told ? get(map->tab_registers, 0) : k[P_SET]) - pf);
    qf += share * ((told ? get(map->tab_registers + 2, 1) : k[Q_SET]) - qf);
    last_s = now;
    put(map->tab_input_registers + 10, pf, 0);
    put(map->tab_input_registers + 12, qf, 0);
    put(map->tab_input_registers, k[F0] - k[M] * (pf - k[P_SET]), 0);
    put(map->tab_input_registers + 4, k[V0] - k[N] * (qf - k[Q_SET]), 1);
    map->tab_input_registers[8] = told || now < first_s ? 0 : 2;
    map->tab_input_registers[9] = fmod(now * 100, 60000);
}

int main(int argc, char **argv) {
    int tcp = argc > 2 && !strcmp(argv[1], "tcp"), listener = -1, size;
    uint8_t asked[MODBUS_MAX_ADU_LENGTH];
    for (int i = 3; i < argc; i++)
        for (int key = 0; key < KEYS; key++) {
            size_t n = strlen(names[key]);
            if (!strncmp(argv[i], names[key], n) && argv[i][n] == '=') k[key] = atof(argv[i] + n + 1);
        }
    if (argc < 3) return fprintf(stderr, "droop_inverter tcp PORT | rtu DEVICE [KEY=VALUE ...]\n"), 2;
    modbus_t *ctx = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], k[BAUD], 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new(0, 0, 16, 16);
    modbus_set_slave(ctx, k[UNIT]);
    if ((tcp ? (listener = modbus_tcp_listen(ctx, 4)) : modbus_connect(ctx)) < 0) return perror(argv[2]), 1;
    struct sockaddr_in at = {0};
    socklen_t length = sizeof at;
    if (tcp) getsockname(listener, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    pf = k[P_SET], qf = k[Q_SET], last_s = now_s();
    for (;;) { /* one master at a time */
        if (tcp && modbus_tcp_accept(ctx, &listener) < 0) return perror("accept"), 1;
        while ((size = modbus_receive(ctx, asked)) >= 0 || !tcp) {
            if (size < 0 && errno == EIO) return 1; /* unplugged */
            if (size <= 0) { /* noise, or for another unit; what is left of it would spoil all that follows */
                modbus_flush(ctx);
                continue;
            }
            advance(map, now_s());
            int code = asked[modbus_get_header_length(ctx)];
            if (code == 6 || code == 16) first_s = fmin(first_s, written_s = now_s());
            if (k[DELAY_MS] > 0) usleep(1000 * k[DELAY_MS]);
            if (modbus_reply(ctx, asked, size, map) < 0) break;
        }
        modbus_close(ctx);
    }
}
