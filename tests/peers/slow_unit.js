// A slow unit on npm's modbus-serial, over TCP or a serial port: each register shows its address, after a while.
//   node slow_unit.js tcp PORT | rtu DEVICE   (prints a line when it listens)
const modbus = require("modbus-serial");
const [kind, where] = process.argv.slice(2);
let asked = 0;
const unit = {
    getHoldingRegister: (address) => {
        const delay = [1, 8, 30, 70][Math.floor(asked++ / 2) % 4]; // two registers a request
        return new Promise((resolve) => setTimeout(() => resolve(address), delay));
    },
};
const server = kind === "tcp"
    ? new modbus.ServerTCP(unit, { host: "127.0.0.1", port: Number(where), unitID: 1 })
    : new modbus.ServerSerial(unit, { port: where, baudRate: 115200, unitID: 1 });
server.on("initialized", () => console.log("ready"));
server.on("socketError", () => {});
