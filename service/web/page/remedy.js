// What went wrong, in words, and what to do.

import { SourceError, StreamError } from "./stream.js";

const AWAY = "The server does not answer. What is here stays here; see that ossicle serve is "
  + "running, and start again.";
const MICROPHONE_ERRORS = {
  AbortError: AWAY, // the code that reads the microphone cannot be fetched
  NotAllowedError: "The microphone was refused. Allow it for this page, with the sign at the left "
    + "end of the address bar or in the settings of your system, and press Start again; or drop a "
    + "recording here, which needs no microphone.",
  NotFoundError: "There is no microphone. Connect one and press Start again, or drop a recording here.",
  OverconstrainedError: "The microphone chosen in the settings is not there any more. Choose another.",
  NotReadableError: "The microphone cannot be used; perhaps another program has it. Close that, and "
    + "press Start again.",
};

async function isThere() {
  try {
    return (await fetch(new URL("v1/models", document.baseURI))).status < 500;
  } catch {
    return false;
  }
}

// The message about an error of the microphone, of a stream or of this page.
export async function remedy(error) {
  if (error instanceof SourceError) {
    return `The recording cannot be read: ${error.message} Drop it here again; one that has changed, `
      + "a folder, or a file that is not on this device cannot be sent.";
  }
  if (!(error instanceof StreamError)) {
    return MICROPHONE_ERRORS[error.name] ?? `Something went wrong: ${error.message}`;
  }
  if (error.status === "RESOURCE_EXHAUSTED") return `The server is busy: ${error.message}.`;
  if (error.status === "AWAY" && await isThere()) {
    return "The server is there, but takes no WebSocket from this address. Its operator can allow it "
      + `with --http-origin ${window.location.origin}; a proxy in between must pass WebSockets on.`;
  }
  if (error.status === "AWAY" || error.status === "UNAVAILABLE") return AWAY;
  return `The server says: ${error.message}.`;
}
