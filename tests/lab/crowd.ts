// Opens COUNT connections to ADDRESS and PORT that send nothing, and holds them until it is ended.

const [hostname = "", port = "", count = ""] = Deno.args;
let taken = 0;
for (let number = 0; number < Number(count); number++) {
  try {
    await Deno.connect({ hostname, port: Number(port) });
    taken++;
  } catch {
    // Counted below.
  }
}
console.log(`${taken} connections`);
setInterval(() => {}, 1000);
