// kinesis-mock listens on every interface and has no setting for it: loaded first, this makes it 127.0.0.1 alone.
"use strict";
const net = require("node:net");

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  const callbacks = rest.filter((argument) => typeof argument === "function");
  return listen.call(this, port, "127.0.0.1", ...callbacks);
};
