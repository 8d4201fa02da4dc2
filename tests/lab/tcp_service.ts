// A service to hide: answers each line with `echo: ` and the line, on the TCP ports in the arguments.
// Prints who connects.

for (const port of Deno.args) {
  const listener = Deno.listen({ hostname: "0.0.0.0", port: Number(port) });
  console.log(`listening on ${port}`);
  (async () => {
    for await (const connection of listener) {
      console.log(`connection from ${connection.remoteAddr.hostname}`);
      serve(connection);
    }
  })();
}

async function serve(connection: Deno.TcpConn): Promise<void> {
  try {
    await connection.write(new TextEncoder().encode("hello\n"));
    for await (const chunk of connection.readable) {
      await connection.write(new TextEncoder().encode(`echo: ${new TextDecoder().decode(chunk)}`));
    }
  } catch {
    // the peer went away
  }
}
