/** The worker's program in the VM: one realm, which speaks only to the runtime. */

import { openRealm } from './realm.ts';
import { serveWorker } from './serve.ts';

serveWorker(openRealm);
