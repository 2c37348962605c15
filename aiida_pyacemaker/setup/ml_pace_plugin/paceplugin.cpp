// Registers the styles of LAMMPS' ML-PACE package when LAMMPS loads this plugin (see LAMMPS_PLUGIN_PATH).
#include "compute_pace.h"
#include "lammpsplugin.h"
#include "pair_pace.h"
#include "pair_pace_extrapolation.h"

using namespace LAMMPS_NS;

static Pair *new_pair_pace(LAMMPS *lmp)
{
  return new PairPACE(lmp);
}

static Pair *new_pair_pace_extrapolation(LAMMPS *lmp)
{
  return new PairPACEExtrapolation(lmp);
}

static Compute *new_compute_pace(LAMMPS *lmp, int narg, char **arg)
{
  return new ComputePACE(lmp, narg, arg);
}

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc)
{
  auto register_plugin = (lammpsplugin_regfunc) regfunc;
  lammpsplugin_t plugin;
  plugin.version = PLUGIN_LAMMPS_VERSION;
  plugin.author = "LAMMPS and python-ace developers";
  plugin.info = "ML-PACE: atomic cluster expansion";
  plugin.handle = handle;

  plugin.style = "pair";
  plugin.name = "pace";
  plugin.creator.v1 = (lammpsplugin_factory1 *) &new_pair_pace;
  register_plugin(&plugin, lmp);

  plugin.name = "pace/extrapolation";
  plugin.creator.v1 = (lammpsplugin_factory1 *) &new_pair_pace_extrapolation;
  register_plugin(&plugin, lmp);

  plugin.style = "compute";
  plugin.name = "pace";
  plugin.creator.v2 = (lammpsplugin_factory2 *) &new_compute_pace;
  register_plugin(&plugin, lmp);
}
