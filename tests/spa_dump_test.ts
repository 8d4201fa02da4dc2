import assert from "node:assert/strict";
import { formatFieldDump } from "../lib/spa_dump.ts";
import { decodePacket } from "../lib/spa_packet.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const WIRE =
  "/dJlnJFKLaxoORlu921Va97PdQhwZSppm0ZHiTR984ATRLfTOBaL32zo7+GXcCP6SQOcZ12WF/zrF7NZir6xWDhUOTmfDGgn" +
  "bHvEHPWX4/LAfQBNIS9qRREfZYLcZ8JMcbAlIT6P4Dw07GHya39uAG63T6u5aRWABTz0ZlLx1zSGab5kcgpXwiFY/2W3Q1Jy" +
  "PiW2LslxvolWNSXUU+yFsNNWZikMyI1d0";

/** Printed by fwknop 2.6.10 -T -v of the packet above, before sending; its tag is in the last line. */
const DUMP = `SPA Field Values:
=================
   Random Value: 5282219246141678
       Username: demo
      Timestamp: 1795329898
    FKO Version: 3.0.0
   Message Type: 3 (Client timeout access msg)
 Message String: 192.0.2.10,tcp/22
     Nat Access: <NULL>
    Server Auth: <NULL>
 Client Timeout: 30
    Digest Type: 3 (SHA256)
      HMAC Type: 3 (SHA256)
Encryption Type: 1 (Rijndael)
Encryption Mode: 2 (CBC)
   Encoded Data: 5282219246141678:ZGVtbw:1795329898:3.0.0:3:MTkyLjAuMi4xMCx0Y3AvMjI:30
SPA Data Digest: ebC2T/7g7V0YpntC56NSGvKpflHu+D9vAGW2JHU/LSg
           HMAC: FY/2W3Q1JyPiW2LslxvolWNSXUU+yFsNNWZikMyI1d0
 Final SPA Data: ${WIRE}
`;

Deno.test("formatFieldDump() prints a packet as the real client does, before and after", () => {
  const packet = decodePacket(WIRE, {
    key: bytes("SpaDemoKey"),
    mode: "CBC",
    hmacKey: bytes("SpaDemoHmacKey"),
    hmacType: "SHA256",
  });
  assert.ok(packet.ok);
  assert.equal(formatFieldDump({ ...packet.value, data: WIRE }), DUMP);
  const withoutTag = DUMP.replace(WIRE, WIRE.slice(0, -43));
  assert.equal(formatFieldDump(packet.value), withoutTag);
});

/** Printed by fwknop 2.6.10 for a GnuPG packet, with short texts in place of the long ones. */
const GPG_DUMP = `SPA Field Values:
=================
   Random Value: 5282219246141678
       Username: alice
      Timestamp: 1795329898
    FKO Version: 3.0.0
   Message Type: 2 (NAT access msg)
 Message String: 1.2.3.4,tcp/22
     Nat Access: 10.0.0.1,22
    Server Auth: auth
 Client Timeout: 0
    Digest Type: 7 (SHA3_512)
      HMAC Type: 0 (None)
Encryption Type: 2 (GPG)
Encryption Mode: 7 (Asymmetric)
     GPG signer: client@example.org
  GPG recipient: server@example.org
 GPG sig verify: Yes
 GPG ignore sig: No
     GPG sig ID: <NULL>
    GPG sig fpr: <NULL>
GPG sig summary: -1
 GPG sig status: -1
   GPG home dir: /home/alice/.gnupg
        GPG exe: /usr/bin/gpg
   Encoded Data: fields
SPA Data Digest: digest
           HMAC: <NULL>
 Final SPA Data: packet
`;

Deno.test("formatFieldDump() prints the lines of GnuPG in their place", () => {
  const dump = formatFieldDump({
    randomValue: "5282219246141678",
    username: "alice",
    timestamp: 1795329898,
    version: "3.0.0",
    messageType: 2,
    message: "1.2.3.4,tcp/22",
    natAccess: "10.0.0.1,22",
    serverAuth: "auth",
    clientTimeout: 0,
    digestType: "SHA3_512",
    hmacType: null,
    mode: "Asymmetric",
    encoded: "fields",
    digest: "digest",
    hmac: null,
    data: "packet",
    gpg: {
      signer: "client@example.org",
      recipient: "server@example.org",
      verifySignature: true,
      ignoreSignature: false,
      signatureId: null,
      signatureFingerprint: null,
      signatureSummary: -1,
      signatureStatus: -1,
      homeDirectory: "/home/alice/.gnupg",
      executable: "/usr/bin/gpg",
    },
  });
  assert.equal(dump, GPG_DUMP);
});
