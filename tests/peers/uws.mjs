// A peer of the feed's bench: uWebSockets.js, which publishes one event to everybody for each that it is told to.
// Prints its port; each line of its input is a number of events to publish. Ends with its input.
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'

const require = createRequire(resolve(process.argv[2]) + '/')
const uws = require('uwebsockets')
const app = uws.App()
app.ws('/*', {
  maxBackpressure: 256 * 1024 * 1024,
  open: (socket) => socket.subscribe('all'),
})
let number = 0
const event = () => {
  number += 1
  return `{"t":"ev","o":${number},"process":{"pid":${number},"pad":"`.padEnd(297, 'x') + '"}}'
}
app.listen('127.0.0.1', 0, (socket) => {
  console.log(uws.us_socket_local_port(socket))
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      for (let left = Number(line); left > 0; left -= 1) app.publish('all', event())
    })
    .on('close', () => process.exit(0))
})
