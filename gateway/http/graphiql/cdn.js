// Starts the GraphiQL that the CDN page loaded. A file and not an inline script, so that the page's policy allows none.
"use strict";

const root = document.getElementById("graphiql");
if (!window.React || !window.ReactDOM || !window.GraphiQL || !window.GraphiQLPluginExplorer) {
  root.textContent =
    "GraphiQL could not be loaded: the CDN is out of reach, or a file there was not the pinned one. " +
    "The endpoint itself answers POST requests at this address.";
} else {
  // Subscriptions need a library that this page does not load.
  const tabs = JSON.parse(document.querySelector('meta[name="tandem-tabs"]').content).filter(
    (tab) => !/^subscription/m.test(tab.query),
  );
  ReactDOM.createRoot(root).render(
    React.createElement(
      GraphiQL,
      {
        fetcher: GraphiQL.createFetcher({ url: window.location.pathname }),
        plugins: [GraphiQLPluginExplorer.explorerPlugin()],
        defaultQuery: tabs[0].query,
        defaultTabs: tabs,
        defaultEditorToolsVisibility: "headers",
      },
      React.createElement(GraphiQL.Logo, null, "Tandem"),
    ),
  );
}
