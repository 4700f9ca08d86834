// An application with users: it knows who has signed in, and says by a token what that user may read.

import { randomUUID } from "node:crypto";

import { GATEWAY, credentials, publish } from "../gateway.js";
import { serve } from "../serve.js";
import { LIFETIME_S, token } from "./tokens.js";

const NAME = /^[a-z]{1,20}$/;
const LONGEST = 500;
/** Who has signed in. A real application asks for more than a name, and keeps its sessions in a cookie. */
const sessions = new Map();

const backend = () => token("inbox-backend", { clients: ["*"], read: ["inbox.#"], publish: ["inbox.*.message"] });
credentials.headers = () => ({ authorization: `Bearer ${backend()}` });

function user({ session }) {
  const name = sessions.get(session);
  if (!name) throw Object.assign(new Error("sign in first"), { status: 401 });
  return name;
}

serve({
  page: new URL(".", import.meta.url),
  routes: {
    "POST /sign-in": async (_, { name }) => {
      if (!NAME.test(name)) return [400, { detail: "a name is 1 to 20 letters, a to z" }];
      // From here on messages wait for the user, also before the page has come to read them.
      const binding = `${GATEWAY}/clients/${name}/topics/${encodeURIComponent(`inbox.${name}.#`)}`;
      const bound = await fetch(binding, { method: "PUT", headers: credentials.headers() });
      if (!bound.ok) return [503, { detail: "the gateway cannot be used now; try again" }];
      const session = randomUUID();
      sessions.set(session, name);
      return [200, { session, name }];
    },
    // A user reads what is sent to them and nothing else. The mailbox is that of the name, or of the name and a device.
    "POST /push-token": (_, body) => {
      const name = user(body);
      return [200, { access_token: token(name, { read: [`inbox.${name}.#`] }), expires_in: LIFETIME_S }];
    },
    // Pages do not publish: who a message comes from is for the backend to say.
    "POST /messages": async (_, body) => {
      const from = user(body);
      const { to, text } = body;
      if (!NAME.test(to) || typeof text !== "string" || text.length > LONGEST) return [400, { detail: "to whom, and what?" }];
      await publish(`inbox.${to}.message`, { from, text });
      return [202, {}];
    },
  },
});
