// Build of the web app: one folder of static files that works under
// `default-src 'self'` (nothing inline, no data: addresses).
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** Leaves only the languages that the app speaks in React Aria's own texts. */
function ariaLocales(keep: string[]): Plugin {
  const own = /react-aria(-components)?\/|react-stately\/|@internationalized\//;
  const locale = /\/intl\/.*\/?([a-z]{2}-[A-Z]{2})\.[mc]?js$/;
  return {
    name: "kith-aria-locales",
    enforce: "pre",
    load(id) {
      const match = own.test(id) ? locale.exec(id) : null;
      return match?.[1] !== undefined && !keep.includes(match[1]) ? "export default {};" : null;
    },
  };
}

export default defineConfig({
  plugins: [ariaLocales(["en-US"]), react(), tailwindcss()],
  build: {
    target: "es2023",
    // The first versions with light-dark().
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
