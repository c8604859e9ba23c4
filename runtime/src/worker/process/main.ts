/** The worker's program in the VM: one realm, which speaks to the runtime alone. */

import { openRealm } from './realm.ts';
import { serveWorker } from './serve.ts';

serveWorker(openRealm);
