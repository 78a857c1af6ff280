// Builds the page into dist/: index.html with assets named by their content, and report.html, one file with everything in
// it and a slot for the data. `--tests` bundles the unit tests instead, into build/tests/.
import { build } from "esbuild";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";

const common = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
};

if (process.argv.includes("--tests")) await buildTests();
else {
  await rm("dist", { recursive: true, force: true });
  await mkdir("dist", { recursive: true });
  await buildPage();
  await buildReport();
}

async function buildPage() {
  const built = await build({
    ...common,
    entryPoints: { app: "src/main.tsx", style: "src/style.css" },
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    splitting: true,
    outdir: "dist/assets",
    metafile: true,
  });
  const named = (start) => {
    const path = Object.keys(built.metafile.outputs).find((each) => each.startsWith(`dist/assets/${start}-`) && built.metafile.outputs[each].entryPoint);
    if (!path) throw new Error(`no asset ${start} was built`);
    return path.slice("dist/".length);
  };
  const html = await readFile("src/index.html", "utf8");
  await writeFile("dist/index.html", html.replace("assets/app.js", named("app")).replace("assets/style.css", named("style")));
  await writeFile("dist/assets/icon.svg", await readFile("src/icon.svg"));
  await writeFile("dist/NOTICE.txt", await readFile("NOTICE", "utf8"));
}

async function buildReport() {
  const built = await build({
    ...common,
    format: "iife",
    entryPoints: { report: "src/report.tsx", style: "src/style.css" },
    outdir: "dist",
    write: false,
  });
  const text = (ending) => built.outputFiles.find((file) => file.path.endsWith(ending)).text;
  const html = await readFile("src/report.html", "utf8");
  // Functions, since a replacement text would give a meaning to each `$` of the code.
  await writeFile("dist/report.html", html.replace("/*STYLE*/", () => text(".css")).replace("/*SCRIPT*/", () => text(".js")));
}

async function buildTests() {
  await rm("build/tests", { recursive: true, force: true });
  const tests = (await readdir("test")).filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
  await build({ ...common, minify: false, platform: "node", entryPoints: tests, outdir: "build/tests", outExtension: { ".js": ".mjs" } });
}
