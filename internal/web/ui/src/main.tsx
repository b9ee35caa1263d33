// The dashboard's beginning.
import { render } from "preact";
import "./settings";
import { keys } from "./keys";
import { Shell } from "./shell";
import { connect } from "./store";

keys();
connect();
render(<Shell />, document.getElementById("app")!);
