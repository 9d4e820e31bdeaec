// A Backstage backend with a catalog, entities from files and from Microsoft Graph, and
// nothing else. All of it is Backstage's own code.
'use strict';

const { createBackend } = require('@backstage/backend-defaults');

const backend = createBackend();
backend.add(require('@backstage/plugin-catalog-backend'));
// Says which entities were refused; without it they are missing in silence.
backend.add(require('@backstage/plugin-catalog-backend-module-logs'));
if (process.env.GRAPH_URL) {
  backend.add(require('@backstage/plugin-catalog-backend-module-msgraph'));
}
backend.start();
