// Hydrogen as its own page puts it together, at the server named in the address.
import { FeatureSet, Platform, RootViewModel, createNavigation, createRouter } from "hydrogen-view-sdk";

const platform = new Platform({
    container: document.querySelector("#app"),
    assetPaths: {
        downloadSandbox: "/assets/download-sandbox.html",
        worker: "/assets/main.js",
        serviceWorker: "/sw.js",
        olm: { wasm: "/olm/olm.wasm", legacyBundle: "/olm/olm_legacy.js", wasmBundle: "/olm/olm.js" },
    },
    config: { defaultHomeServer: new URLSearchParams(location.search).get("server") },
    options: { development: false },
});
const navigation = createNavigation();
platform.setNavigation(navigation);
await platform.init();
const urlRouter = createRouter({ navigation, history: platform.history });
urlRouter.attach();
const features = await FeatureSet.load(platform.settingsStorage);
const root = new RootViewModel({ platform, logger: platform.logger, urlRouter, navigation, features });
await root.load();
platform.createAndMountRootView(root);
