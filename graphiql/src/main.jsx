// The GraphiQL page of Tandem: GraphiQL 5 with the query explorer, speaking to the address it was loaded from.

import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./page.css";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import { createRoot } from "react-dom/client";

// JSON with comments is allowed in this editor, so the line can be completed instead of looked up.
const DEFAULT_HEADERS = `{
  // "tandem token" prints a token.
  // "Authorization": "Bearer TOKEN"
}
`;

const tabs = JSON.parse(document.querySelector('meta[name="tandem-tabs"]').content);
const defaultTabs = tabs.map((tab) => ({ ...tab, headers: DEFAULT_HEADERS }));
// The page and the endpoint share one address, also behind a proxy that adds a prefix. The headers of a tab are what a
// socket is opened with.
const socket = new URL(window.location.pathname, window.location.href.replace(/^http/, "ws"));
const fetcher = createGraphiQLFetcher({ url: window.location.pathname, subscriptionUrl: socket.href });
// A list of plugins replaces GraphiQL's own, so the history is named too.
const plugins = [HISTORY_PLUGIN, explorerPlugin()];

createRoot(document.getElementById("graphiql")).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={plugins}
    defaultQuery={tabs[0].query}
    defaultTabs={defaultTabs}
    defaultHeaders={DEFAULT_HEADERS}
    defaultEditorToolsVisibility="headers"
  >
    <GraphiQL.Logo>Tandem</GraphiQL.Logo>
  </GraphiQL>,
);
