"""The profiles that ship with snnrobust, as YAML."""
