import { JsEngine } from "../../src/engine/js/js-engine.ts";
import { describeEngine } from "./engine.conformance.ts";

describeEngine("js", (options) => new JsEngine(options));
