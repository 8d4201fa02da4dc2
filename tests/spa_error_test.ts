import assert from "node:assert/strict";
import { listSpaErrors, refuse, refuseData, spaError } from "../lib/spa_error.ts";

Deno.test("listSpaErrors() has each number of libfko and fwknopd once, in order", () => {
  const codes = listSpaErrors().map(({ code }) => code);
  const range = (first: number, last: number): number[] =>
    Array.from({ length: last - first + 1 }, (_, index) => first + index);
  assert.deepEqual(codes, [...range(0, 140), ...range(4096, 4109), ...range(8192, 8194)]);
});

Deno.test("errors have the sentences that users of fwknop see", () => {
  const prefix = "Args contain invalid data: FKO_ERROR_INVALID_DATA_";
  const texts: Readonly<Record<number, string>> = {
    0: "Success",
    4: "Args contain invalid data",
    5: `${prefix}CLIENT_TIMEOUT_NEGATIVE`,
    7: `${prefix}DECODE_NON_ASCII`,
    42: `${prefix}DECODE_TIMEOUT_DECODEFAIL`,
    65: `${prefix}ENCRYPT_TYPE_UNKNOWN`,
    75: `${prefix}HMAC_COMPAREFAIL`,
    93: `${prefix}UTIL_STRTOL_GT_MAX`,
    94: "Value or Size of the data exceeded the max allowed",
    95: "Invalid key length",
    98: "There is no encoded data to process",
    100: "Invalid allow IP address in the SPA message data",
    107: "Decryption failed or decrypted data is invalid",
    111: "Unsupported or unimplemented feature or function",
    122: "Error during the encrypt and sign operation",
    126: "Ambiguous name/id for the signer key (multiple matches)",
    137: "Missing GPG signature",
    4096: "Data is not a valid SPA message format",
    4103: "Detected SPA message replay",
    8194: "Unknown/unclassified firewall rule processing error",
  };
  const errors = new Map(listSpaErrors().map(({ code, text }) => [code, text]));
  for (const [code, text] of Object.entries(texts)) assert.equal(errors.get(Number(code)), text);
});

Deno.test("a refusal carries number, name and sentence of its error", () => {
  assert.deepEqual(refuse("FKO_ERROR_DECRYPTION_FAILURE"), {
    ok: false,
    error: {
      code: 107,
      name: "FKO_ERROR_DECRYPTION_FAILURE",
      text: "Decryption failed or decrypted data is invalid",
    },
  });
  const data = refuseData("NAT_EMPTY");
  assert.deepEqual(data.ok ? null : data.error, spaError("FKO_ERROR_INVALID_DATA_NAT_EMPTY"));
  assert.equal(spaError("FWKNOPD_ERROR_REPLAY").code, 4103);
});
