// A BS of the original system, in a few lines: it opens a link without the sub-protocol, says what
// it reads line by line on stdin, and prints what it hears.
import { createInterface } from 'node:readline';

const link = new WebSocket(process.argv[2]);
link.onopen = () => createInterface({ input: process.stdin }).on('line', (line) => link.send(line));
link.onmessage = ({ data }) => console.log(data);
link.onclose = ({ code, reason }) => {
  console.log(JSON.stringify({ closed: code, reason }));
  process.exit();
};
