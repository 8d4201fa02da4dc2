// What a stranger sees of a TCP port, as nmap words it: `open`, `closed` or `filtered`.
// With --hold an open connection stays: each line of standard input is sent and its answer printed.

const [address = "", port = "", patience = "500", hold] = Deno.args;

const timeout = setTimeout(() => {
  console.log("filtered");
  Deno.exit(0);
}, Number(patience));
try {
  const connection = await Deno.connect({ hostname: address, port: Number(port) });
  clearTimeout(timeout);
  console.log("open");
  if (hold === "--hold") {
    connection.readable.pipeTo(Deno.stdout.writable);
    await Deno.stdin.readable.pipeTo(connection.writable);
  }
  connection.close();
} catch {
  clearTimeout(timeout);
  console.log("closed");
}
Deno.exit(0);
